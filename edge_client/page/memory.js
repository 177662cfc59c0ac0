/** What the page remembers; nothing, where the browser forbids it. */

/** For this tab, and no longer: the server's key. */
export const tabMemory = memoryIn(() => sessionStorage);

/** Until the person clears it: which devices were picked. */
export const browserMemory = memoryIn(() => localStorage);

/** @param {() => Storage} storage  reading the property is what a browser with blocked storage refuses */
function memoryIn(storage) {
  return {
    /** @type {(name: string) => string | null} */
    recall: (name) => attempt(() => storage().getItem(`antiphon.${name}`)),
    /** @type {(name: string, value: string) => void} */
    keep: (name, value) => void attempt(() => storage().setItem(`antiphon.${name}`, value)),
  };
}

/**
 * @template T
 * @param {() => T} action
 * @returns {T | null}
 */
function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}
