// Usage: node drop.mjs URL PHOTOGRAPH DAMAGED; prints one JSON object per check; exit code 1 where anything is wrong.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { chromium } from "playwright-core";

const [url, photograph, damaged] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const profile = mkdtempSync(join(tmpdir(), "drop-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"],
});
let wrong = 0;

function report(values) {
  wrong += values.problems.length > 0 ? 1 : 0;
  console.log(JSON.stringify(values));
}

async function open(scheme, width) {
  const page = await browser.newPage();
  const problems = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) problems.push(message.text()); });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => { if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(url)) problems.push(request.url()); });
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(url);
  return { page, problems };
}

const rows = (page) => page.evaluate(() => [...document.querySelectorAll("#results li")].map((item) => ({
  name: item.querySelector("h2").textContent,
  classes: [...item.querySelectorAll("th")].map((head) => head.textContent),
  error: item.querySelector(".error")?.textContent ?? "",
})));
const answered = (page, count) => page.waitForFunction(
  (n) => document.querySelectorAll("#results table, #results .error").length === n, count, { timeout: 60000 });

try {
  const chosen = await open("light", 1280);
  await chosen.page.setInputFiles("#files", [photograph]);
  await answered(chosen.page, 1);
  report({ check: "chosen", problems: chosen.problems, rows: await rows(chosen.page) });

  const bytes = [...readFileSync(photograph)];
  await chosen.page.evaluate(([content, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(content)], name, { type: "image/png" }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, [bytes, "dropped-" + basename(photograph)]);
  await answered(chosen.page, 2);
  report({ check: "dropped", problems: chosen.problems, rows: await rows(chosen.page) });

  await chosen.page.setInputFiles("#files", [damaged]);
  await answered(chosen.page, 3);
  const told = chosen.problems.filter((problem) => !/status of 400/.test(problem));
  report({ check: "damaged", problems: told, rows: await rows(chosen.page) });
  await chosen.page.close();

  for (const scheme of ["light", "dark"]) {
    const { page, problems } = await open(scheme, 1280);
    await page.setInputFiles("#files", [photograph]);
    await answered(page, 1);
    await page.evaluate(axe);
    const result = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const violations = result.violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary}`);
    report({ check: `axe ${scheme}`, problems: [...problems, ...violations] });
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${scheme}.png`) });
    await page.close();
  }

  const narrow = await open("light", 320);
  await narrow.page.setInputFiles("#files", [photograph]);
  await answered(narrow.page, 1);
  const overflow = await narrow.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (process.env.SCREENSHOTS) await narrow.page.screenshot({ path: join(process.env.SCREENSHOTS, "narrow.png") });
  report({ check: "reflow at 320 px", problems: [...narrow.problems, ...(overflow > 0 ? [`${overflow} px too wide`] : [])] });
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(wrong ? 1 : 0);
