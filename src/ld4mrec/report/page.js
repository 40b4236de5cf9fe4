// Sort a table by a column: downwards, upwards, as it was. Rows without a number stay last.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const texts = new Intl.Collator("en", { numeric: true });

  const sort = (column, direction) => {
    const number = heads[column].classList.contains("number");
    const rank = (one, other) => {
      const a = one.cells[column], b = other.cells[column];
      if (!number) return direction * texts.compare(a.textContent, b.textContent);
      if (!("value" in a.dataset && "value" in b.dataset))
        return ("value" in b.dataset) - ("value" in a.dataset);
      return direction * (a.dataset.value - b.dataset.value);
    };
    body.append(...(direction ? [...original].sort(rank) : original));
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    button.addEventListener("click", () => {
      const steps = [null, first, second, null];
      const next = steps[steps.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      sort(column, { ascending: 1, descending: -1 }[next] ?? 0);
    });
  });
}
