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
