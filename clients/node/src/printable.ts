/** Text that can't control a terminal or look like another line of a log. */

/** Controls, formats, lone surrogates, and the line ends of Unicode; but not a newline before a call of a stack. */
const UNPRINTABLE = /(?!\n +at )[\p{C}\p{Zl}\p{Zp}]/gu;
/** How much of a text a log shows. */
const MOST = 8192;

/** The text with its unprintable characters escaped, cut to 8192 characters. Newlines stay before the calls of a stack. */
export function printable(text: string): string {
  return text.slice(0, MOST).replace(UNPRINTABLE, escaped);
}

function escaped(letter: string): string {
  if (letter === "\n") return "\\n";
  const code = (letter.codePointAt(0) as number).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u{${code}}`;
}
