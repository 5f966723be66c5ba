// Draws each board into a picture: `draw.mjs BOARDS ANSWERS OUT`, in a folder with the packages of package.json. ANSWERS is what the observe
// test kept of its Prometheus.
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const [boards, answersFile, out] = process.argv.slice(2);
const answers = JSON.parse(readFileSync(answersFile, "utf8"));
// The picture's now: the last moment at which the program was seen with its database.
const seen = answers.find((answer) => answer.panel === "worker.json: Database").series.flatMap((one) => one.values.filter(([, value]) => value === "1"));
const now = Math.max(...seen.map(([at]) => at));
for (const series of answers.flatMap((answer) => answer.series)) series.values = series.values.filter(([at]) => at <= now);
const loader = Object.fromEntries([".svg", ".woff", ".woff2", ".ttf", ".png"].map((kind) => [kind, "dataurl"]));
await build({
  entryPoints: ["page.tsx"], bundle: true, outfile: "drawn/page.js", loader, jsx: "automatic", format: "iife", logLevel: "error",
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
});
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
for (const file of readdirSync(boards).filter((name) => name.endsWith(".json"))) {
  const board = JSON.parse(readFileSync(`${boards}/${file}`, "utf8"));
  const mine = answers.filter((answer) => answer.panel.startsWith(`${file}: `));
  const data = JSON.stringify({ board, file, answers: mine, now }).replaceAll("<", "\\u003c");
  writeFileSync("drawn/board.html", `<!doctype html><meta charset="utf-8"><style>body{margin:0;font-family:Inter,sans-serif}</style><link rel="stylesheet" href="page.css">
<div id="root"></div><script>Object.assign(window, ${data})</script><script src="page.js"></script>`);
  const page = await browser.newPage({ viewport: { width: 1576, height: 1200 }, deviceScaleFactor: 0.7 });
  page.on("pageerror", (error) => console.error(`${file}: ${error}`));
  await page.goto(`file://${resolve("drawn/board.html")}`);
  await page.waitForFunction(() => window.drawn);
  await page.locator("#board").screenshot({ path: `${out}/${file.replace(".json", ".png")}` });
  console.log(`${out}/${file.replace(".json", ".png")}`);
  await page.close();
}
await browser.close();
