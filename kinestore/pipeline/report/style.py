"""The page's style sheet and its one script."""

from kinestore.pipeline.report.palette import NUM_LEVELS, NUM_LINES, variables

_STYLE = """
*{box-sizing:border-box}
html{background:var(--back);color:var(--word);-webkit-text-size-adjust:100%;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
body{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 3rem}
h1{font-size:1.8rem;line-height:1.2;margin:0 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--edge)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.4rem 0}
.quiet,figcaption,caption,.shades{color:var(--quiet);font-size:.875rem}
bdi,dd,td{overflow-wrap:anywhere}
a{color:var(--mark)}
nav{font-size:.875rem;margin:1rem 0 0;display:flex;flex-wrap:wrap;gap:.2rem 1rem}
code{font-family:ui-monospace,"SFMono-Regular",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.875em;overflow-wrap:anywhere}
.cards{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.2rem 0 0;padding:0}
.cards div{background:var(--raised);border:1px solid var(--edge);border-radius:.5rem;
padding:.6rem .8rem;flex:1 1 8rem}
.cards dt{color:var(--quiet);font-size:.8rem}
.cards dd{margin:0;font-size:1.4rem;font-weight:600;white-space:nowrap;
font-variant-numeric:tabular-nums}
.facts dl,.facts{display:grid;gap:0 2rem;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));
margin:0}
.facts dl{display:block}
.facts dl div{display:grid;grid-template-columns:minmax(7rem,2fr) 3fr;gap:.75rem;
padding:.25rem 0;border-bottom:1px solid var(--edge);font-size:.9rem}
.facts dt{color:var(--quiet)}
.facts dd{margin:0;min-width:0}
.panels{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr))}
figure{margin:0}
figure svg,.map{display:block;max-width:100%;height:auto}
svg text{fill:var(--word);font-size:12px}
svg .letter9{font-size:9px}svg .letter8{font-size:8px}
.panel svg text{fill:var(--quiet)}
.panel>svg{width:100%}
.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--edge);stroke-width:1;fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.band{opacity:.2;stroke:none}
.key{color:var(--word);white-space:nowrap;margin-right:1rem}
.key svg{display:inline-block;width:1.5rem;height:.5rem;margin-right:.35rem;vertical-align:middle}
.shades svg{display:inline-block;height:.75rem;vertical-align:-.05rem;margin:0 .3rem}
.scrolled{overflow:auto;max-height:36rem;border:1px solid var(--edge);border-radius:.5rem}
.scrolled:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
.drawn{max-height:none;padding:.75rem;width:fit-content;max-width:100%}
.drawn .map{max-width:none}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;padding:.4rem .6rem}
th,td{padding:.3rem .6rem;text-align:left;border-bottom:1px solid var(--edge);vertical-align:top}
th{background:var(--raised);position:sticky;top:0;font-weight:600}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
[role=button]{cursor:pointer;text-decoration:underline dotted;text-underline-offset:.2em}
[role=button]:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
th[aria-sort=ascending] [role=button]::after{content:" \\2191"}
th[aria-sort=descending] [role=button]::after{content:" \\2193"}
td:has(bdi){min-width:7rem}
.bar{display:block;width:8rem;height:.6rem;margin-top:.45rem}
.bar rect{fill:var(--mark)}.bar .rest{fill:var(--edge)}
.clips{list-style:none;margin:.8rem 0 0;padding:0;display:grid;gap:.75rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr))}
.clips li{background:var(--raised);border:1px solid var(--edge);border-radius:.5rem;
padding:.6rem;font-size:.875rem;min-width:0}
.clips img{display:block;width:100%;height:7.5rem;object-fit:contain;background:#000;
border-radius:.3rem;margin-bottom:.4rem}
.clips p{margin:.15rem 0}
@media (max-width:30rem){html{font-size:15px}.bar{width:4rem}th,td{padding:.3rem .4rem}
.facts dl div{grid-template-columns:1fr 1fr}.clips{grid-template-columns:1fr 1fr}}
@page{margin:14mm}
@media print{html{font-size:10pt}body{max-width:none;padding:0}nav{display:none}
.scrolled{overflow:visible;max-height:none;border:0;padding:0}.drawn .map{max-width:100%}
th{position:static}thead{display:table-header-group}[role=button]{text-decoration:none}
.bar{width:5rem}td:has(bdi){min-width:0}.cards div{flex-basis:6rem}
.quiet,.shades{break-after:avoid}
h2,h3{break-after:avoid}tr,li,figure,.cards div,.map{break-inside:avoid}
.map{max-height:240mm}.clips{grid-template-columns:repeat(4,1fr)}
.bar,.cards div,.clips li,th,svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

_SORT = """
for (const table of document.querySelectorAll(".sortable table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const number = text => parseFloat(text.replaceAll(",", ""));
  const known = text => !Number.isNaN(number(text));
  const sort = (head, place) => {
    const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const compare = head.classList.contains("number")
      ? (a, b) => known(b) - known(a) || (known(a) ? up * (number(a) - number(b)) : 0)
      : (a, b) => up * a.localeCompare(b);
    const key = row => row.cells[place].textContent;
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
  };
  heads.forEach((head, place) => {
    if (!head.textContent) return;
    // No <button>: Chromium leaves it out of headings that it repeats on paper.
    const button = document.createElement("span");
    button.append(...head.childNodes);
    button.tabIndex = 0;
    button.setAttribute("role", "button");
    button.addEventListener("click", () => sort(head, place));
    button.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(head, place);
    });
    head.append(button);
  });
}
"""


def style() -> str:
    """The style sheet; on paper it is always light."""
    lines = "".join(
        f".line.line{n}{{stroke:var(--line{n})}}.band.line{n},.dot.line{n}{{fill:var(--line{n})}}"
        for n in range(1, NUM_LINES + 1)
    )
    levels = "".join(
        f"rect.level{n},path.level{n}{{fill:var(--level{n})}}svg text.on{n}{{fill:var(--on{n})}}"
        for n in range(1, NUM_LEVELS + 1)
    )
    return (
        f":root{{color-scheme:light;{variables('light')}}}"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{:root{{color-scheme:dark;{variables('dark')}}}}}"
        f"{_STYLE}{lines}{levels}\n"
    )


def script() -> str:
    """Lets a table be sorted by a click on its heading; without it the page lacks nothing else."""
    return _SORT
