"""The style sheet of report.html, in light and dark. Kept in a module so that it is wherever the code is."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f4f1; --card: #fcfcfb; --ink: #0b0b0b; --ink2: #52514e; --muted: #7d7b75; --hair: #e1e0d9;
  --blue: #2a78d6; --aqua: #1baf7a; --yellow: #eda100; --violet: #4a3aa7; --red: #e34948; --grey: #a9a79f;
  --good: #006300; --bad: #a32221; --code: #f0efec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d0d0d; --card: #1a1a19; --ink: #ffffff; --ink2: #c3c2b7; --muted: #96948c; --hair: #2c2c2a;
    --blue: #3987e5; --aqua: #199e70; --yellow: #c98500; --violet: #9085e9; --red: #e66767; --grey: #6b6963;
    --good: #5cc45c; --bad: #ff8d8d; --code: #232322;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 80px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; margin-bottom: 24px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 44px 0 14px; letter-spacing: -.01em; }
h2 small { font-size: 14px; font-weight: 400; color: var(--muted); margin-left: 6px; }
h3 { font-size: 14px; font-weight: 600; margin: 0; }
header p { flex-basis: 100%; margin: 0; color: var(--ink2); }
.status { font-size: 13px; padding: 1px 10px; border: 1px solid var(--hair); border-radius: 99px; color: var(--ink2); }
.card { background: var(--card); border: 1px solid var(--hair); border-radius: 12px; padding: 18px 20px; min-width: 0; }
.top { display: grid; grid-template-columns: minmax(280px, 5fr) 8fr; gap: 14px; }
.hero { display: flex; flex-direction: column; justify-content: center; }
.hero .figures { display: flex; align-items: baseline; gap: 14px; font-size: 46px; font-weight: 650;
  letter-spacing: -.03em; line-height: 1.15; }
.hero .figures .from { color: var(--muted); font-weight: 500; }
.hero .figures .arrow { color: var(--muted); font-size: 26px; font-weight: 400; }
.label { color: var(--ink2); font-size: 13px; }
.note { color: var(--muted); font-size: 13px; margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(138px, 1fr)); gap: 14px; }
.tile { padding: 12px 14px; }
.tile b {
  display: block; font-size: 20px; white-space: nowrap; font-weight: 600; letter-spacing: -.02em; line-height: 1.3;
}
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 14px; }
.chart header { margin: 0 0 8px; gap: 0 12px; align-items: center; justify-content: space-between; }
.chart h3 small { font-weight: 400; color: var(--muted); font-size: 13px; margin-left: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; color: var(--ink2); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
svg { display: block; width: 100%; height: auto; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dot { stroke: var(--card); stroke-width: 2; }
.whisker { fill: none; stroke-width: 1.5; opacity: .7; }
.area { stroke: var(--card); stroke-width: 1; }
.grid { stroke: var(--hair); stroke-width: 1; }
.tick { fill: var(--muted); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.strip { fill: transparent; }
.strip:hover { fill: var(--ink); fill-opacity: .07; }
.panel { margin: 6px 0 2px; font-size: 12px; color: var(--muted); }
.empty { color: var(--muted); padding: 70px 0; text-align: center; margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { font-weight: 500; font-size: 13px; color: var(--ink2); }
th, td { padding: 7px 14px; text-align: right; border-bottom: 1px solid var(--hair); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
.sample { margin-bottom: 14px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 14px;
  margin-top: 12px; }
.verdict { font-size: 13px; color: var(--ink2); margin: 0 0 4px; }
.verdict .right { color: var(--good); font-weight: 600; }
.verdict .wrong { color: var(--bad); font-weight: 600; }
pre {
  margin: 0; padding: 10px 12px; background: var(--code); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; max-height: 340px;
  overflow-y: auto; unicode-bidi: isolate;
}
pre.open { max-height: none; }
details { margin-bottom: 14px; }
summary { cursor: pointer; font-weight: 600; font-size: 14px; }
details[open] summary { margin-bottom: 12px; }
@media (max-width: 860px) { .top { grid-template-columns: 1fr; } main { padding: 24px 14px 60px; } }
@media print { body { background: none; } .card { break-inside: avoid; } }
"""
