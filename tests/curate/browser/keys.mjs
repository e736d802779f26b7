// Usage: node keys.mjs PAGE.html SAVED.csv ; edits the sheet with keys and the mouse, saves, and prints what was seen.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, saved] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "sheet-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  const messages = [], requests = [];
  page.on("request", (request) => { if (!/^(file|data|blob):/.test(request.url())) requests.push(request.url()); });
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) messages.push(message.text()); });
  page.on("pageerror", (error) => messages.push(String(error)));
  await page.goto(pathToFileURL(resolve(file)).href);
  const at = () => page.evaluate(() => document.activeElement.dataset.row);
  const rows = {};
  const first = page.locator("button.shot").first();
  await first.focus();
  rows.first = await at();
  await page.keyboard.press("x");
  await page.keyboard.press("ArrowRight");
  rows.second = await at();
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  rows.below = await at();
  await page.keyboard.press("x");
  await page.keyboard.press("k"); // back as it was: no change
  await page.keyboard.press("End");
  rows.last = await at();
  const suggested = page.locator(".shot[data-suggested]").first();
  await suggested.focus();
  rows.suggested = await at();
  await page.keyboard.press("c");
  const given = await suggested.evaluate((shot) => shot.parentElement.querySelector(".given").textContent);
  const changes = await page.locator("#changes").textContent();
  await page.locator("#only").selectOption("wrong-label");
  const shown = await page.evaluate(() => [...document.querySelectorAll("button.shot")].filter((shot) => shot.offsetParent).map((shot) => shot.parentElement.dataset.reasons));
  await page.locator("#only").selectOption("");
  await first.focus();
  const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("s")]);
  await download.saveAs(saved);
  console.log(JSON.stringify({ rows, given, changes, shown, name: download.suggestedFilename(), messages, requests,
    after: await page.locator("#changes").textContent() }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
