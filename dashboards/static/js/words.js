// What the page's scripts say, in the page's language.
export const words = JSON.parse(document.getElementById("words")?.textContent ?? "{}");
