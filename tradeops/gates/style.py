"""How the report looks: one style sheet, light and dark by the reader's own choice, and on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{--ink:#1c2430;--dim:#5b6573;--paper:#fff;--rule:#d5dae1;--canary:#0b62c4;--control:#8a5a00;--pass:#11692f;--fail:#b3141d;--wait:#7a5300}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--dim:#9aa5b3;--paper:#12161c;--rule:#333c48;
--canary:#6db3ff;--control:#e0ab4a;--pass:#57cf83;--fail:#ff7b80;--wait:#e5b655}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid var(--rule);padding-top:1rem}
ul,ol{padding-left:1.2rem}ol.gates{list-style:none;padding:0}
.pass,.fail,.inconclusive,.not_judged{font-weight:600;white-space:nowrap}
.pass{color:var(--pass)}.fail{color:var(--fail)}.inconclusive{color:var(--wait)}.not_judged{color:var(--dim)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;vertical-align:top}thead th{color:var(--dim);font-weight:400}
tbody tr:not(.words) td{white-space:nowrap}tbody tr:not(.words)>*{border-top:1px solid var(--rule)}.words td{color:var(--dim);padding-top:0}
figure{margin:1.5rem 0;break-inside:avoid}figcaption{color:var(--dim);font-size:13px;margin-top:.4rem}
svg{width:100%;height:auto}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
svg path{fill:none;stroke-width:1.6;stroke:var(--dim)}svg .grid{stroke:var(--rule);stroke-width:1}
svg .canary{stroke:var(--canary)}svg .control{stroke:var(--control);stroke-dasharray:5 4}
svg .evidence{stroke:var(--ink)}svg .limit{stroke:var(--fail);stroke-dasharray:2 3}
"""
