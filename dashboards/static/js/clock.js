// The cloud's clock, by what the page and each message said: ages are right even where this computer's clock is wrong.

let ahead = Number(document.body.dataset.serverMs || Date.now()) - Date.now();

/** Milliseconds UTC at the cloud. */
export const now = () => Date.now() + ahead;

/** A message said when it was sent: the least delayed one is nearest the truth. */
export function heard(sentMs) {
  if (Number.isFinite(sentMs)) ahead = Math.max(ahead, sentMs - Date.now());
}
