// The form of a rule shows only the fields of its kind; choosing another machine offers that machine's tags.

const form = document.getElementById("rule-form");

function showKind() {
  const kind = form.elements.kind.value;
  for (const field of form.querySelectorAll(".field[data-kinds]")) {
    const kinds = field.dataset.kinds.split(" ").filter(Boolean);
    field.hidden = kinds.length > 0 && !kinds.includes(kind);
  }
}

async function showTags() {
  const answer = await fetch(`/rules/tags?scope=${encodeURIComponent(form.elements.scope.value)}`);
  if (!answer.ok) return;
  const { tags } = await answer.json();
  const options = () => tags.map((tag) => new Option(`${tag.name} — ${tag.id}${tag.unit ? ` (${tag.unit})` : ""}`, tag.id));
  for (const name of ["tag", "divisor", "related"]) {
    const select = form.elements[name];
    const chosen = new Set([...select.selectedOptions].map((one) => one.value));
    const first = name === "related" ? [] : [new Option("—", "")];
    select.replaceChildren(...first, ...options());
    for (const one of select.options) one.selected = chosen.has(one.value);
  }
}


if (form) {
  form.elements.kind.addEventListener("change", showKind);
  form.elements.scope.addEventListener("change", showTags);
  showKind();
  form.querySelector("[aria-invalid]")?.focus();
}
