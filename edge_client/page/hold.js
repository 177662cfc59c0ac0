/** A button that counts while it is held, by pointer or with the space bar. */

/**
 * @typedef {object} HoldParts
 * @property {HTMLButtonElement} button
 * @property {() => boolean} isInUse  whether the space bar belongs to it just now
 * @property {() => void} onPress
 * @property {() => void} onRelease
 */

/** @param {HoldParts} parts */
export function bindHold({ button, isInUse, onPress, onRelease }) {
  button.addEventListener("pointerdown", ({ pointerId }) => {
    button.setPointerCapture(pointerId);
    onPress();
  });
  button.addEventListener("pointerup", onRelease);
  button.addEventListener("pointercancel", onRelease);
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || !isInUse() || isTaken(event.target, button)) return;
    event.preventDefault();
    if (!event.repeat) onPress();
  });
  document.addEventListener("keyup", ({ key }) => key === " " && onRelease());
  window.addEventListener("blur", onRelease);
}

/**
 * The space bar also writes, and presses what has the focus.
 *
 * @type {(target: EventTarget | null, button: HTMLButtonElement) => boolean}
 */
function isTaken(target, button) {
  const taker = target instanceof Element ? target.closest("input, select, textarea, button, summary, dialog") : null;
  return taker !== null && taker !== button;
}
