// Usage: node check.mjs PAGE.html... ; prints one JSON object per page and theme; exit code 1 where anything is wrong.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { HtmlValidate } from "html-validate";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const validator = new HtmlValidate({ extends: ["html-validate:recommended"] });
const profile = mkdtempSync(join(tmpdir(), "report-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  bypassCSP: true, // for axe alone: the page's own policy allows no script from outside
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
let wrong = 0;

function report(found) {
  const bad = Object.entries(found).some(([name, value]) => Array.isArray(value) && value.length > 0 || name === "overflow" && value > 0);
  wrong += bad ? 1 : 0;
  console.log(JSON.stringify(found));
}

async function open(file, width, scheme) {
  const page = await browser.newPage();
  const requests = [], messages = [];
  page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) requests.push(request.url()); });
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) messages.push(message.text()); });
  page.on("pageerror", (error) => messages.push(String(error)));
  page.on("dialog", async (dialog) => { messages.push(`dialog: ${dialog.message()}`); await dialog.dismiss(); });
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(pathToFileURL(resolve(file)).href);
  return { page, requests, messages };
}

try {
  for (const file of process.argv.slice(2)) {
    const validation = await validator.validateFile(file);
    report({ file, check: "html-validate",
      errors: validation.results.flatMap((result) => result.messages.map((m) => `${m.line}: ${m.ruleId}: ${m.message}`)).slice(0, 20) });
    for (const scheme of ["light", "dark"]) {
      const { page, requests, messages } = await open(file, 1280, scheme);
      await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
      await page.evaluate(axe);
      const result = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      report({ file, check: `axe ${scheme}`, requests, messages,
        violations: result.violations.map((v) => `${v.id}: ${v.nodes.length} x ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary}`) });
      await page.close();
    }
    const narrow = await open(file, 320, "light");
    const overflow = await narrow.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const hidden = await narrow.page.evaluate(() => [...document.querySelectorAll(".scroll")]
      .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.tabIndex !== 0).map((one) => one.outerHTML.slice(0, 80)));
    report({ file, check: "reflow at 320 px", overflow, hidden });
    await narrow.page.close();
    const sorting = await open(file, 1280, "light");
    const unsorted = await sorting.page.evaluate(() => [...document.querySelectorAll("table.interactive")].flatMap((table) => {
      const failures = [];
      const column = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent.startsWith("Time"));
      const head = table.tHead.rows[0].cells[column];
      const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.v));
      head.querySelector("button").click();
      if (head.getAttribute("aria-sort") !== "ascending" || values().some((v, i, all) => i && all[i - 1] > v)) failures.push("ascending");
      head.querySelector("button").click();
      if (head.getAttribute("aria-sort") !== "descending" || values().some((v, i, all) => i && all[i - 1] < v)) failures.push("descending");
      return failures;
    }));
    report({ file, check: "sorting", unsorted });
    await sorting.page.close();
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(wrong ? 1 : 0);
