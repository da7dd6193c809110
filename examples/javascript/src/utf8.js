// @ts-check
// UTF-8, because QuickJS has neither TextEncoder nor TextDecoder.

const ODD = "\ufffd";

/** @param {string} text */
export function bytesOf(text) {
  const bytes = [];
  for (const character of text) {
    let code = character.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd; // half a pair
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), tail(code));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), tail(code >> 6), tail(code));
    else bytes.push(0xf0 | (code >> 18), tail(code >> 12), tail(code >> 6), tail(code));
  }
  return new Uint8Array(bytes);
}

/** @param {number} code */
function tail(code) {
  return 0x80 | (code & 0x3f);
}

/** What is not UTF-8 becomes U+FFFD.
 * @param {Uint8Array} bytes */
export function textOf(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at++];
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const tails = first >= 0xf0 && first < 0xf5 ? 3 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xc2 && first < 0xe0 ? 1 : 0;
    let code = first & (0x3f >> tails);
    let left = tails;
    while (left > 0 && at < bytes.length && (bytes[at] & 0xc0) === 0x80) {
      code = (code << 6) | (bytes[at++] & 0x3f);
      left--;
    }
    const least = [0x80, 0x80, 0x800, 0x10000][tails];
    const half = code >= 0xd800 && code <= 0xdfff;
    text += tails === 0 || left > 0 || code < least || code > 0x10ffff || half ? ODD : String.fromCodePoint(code);
  }
  return text;
}
