/**
 * Text in terminal cells. What others wrote is cleaned before it is shown: a control character in a name or payload could
 * move the cursor, retitle the window, or worse.
 */
import { stripVTControlCharacters } from "node:util";

const segments = new Intl.Segmenter();
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Script=Han}/u;

/** Without control characters, line breaks kept. */
export function cleanText(text: string): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\u2028\u2029]/gu, (character) =>
    character === "\n" || character === "\t" ? character : "",
  );
}

/** On one line. */
export function cleanLine(text: string): string {
  return cleanText(text)
    .replace(/\s*\n\s*/g, " ⏎ ")
    .replaceAll("\t", " ");
}

export function widthOf(text: string): number {
  const visible = stripVTControlCharacters(text);
  let width = 0;
  for (const { segment } of segments.segment(visible)) width += wide.test(segment) ? 2 : 1;
  return width;
}

export function padEnd(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)));
}

export function padStart(text: string, width: number): string {
  return " ".repeat(Math.max(0, width - widthOf(text))) + text;
}

/** Cut to the width, with a sign that it was. For text without colours. */
export function shorten(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = "";
  let used = 1;
  for (const { segment } of segments.segment(text)) {
    used += widthOf(segment);
    if (used > width) break;
    kept += segment;
  }
  return width < 1 ? "" : `${kept}…`;
}

/** Lines no wider than the width, broken at spaces where there are any. */
export function wrap(text: string, width: number): string[] {
  return text.split("\n").flatMap((paragraph) => wrapParagraph(paragraph, width));
}

function wrapParagraph(paragraph: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  let used = 0;
  const endLine = () => {
    lines.push(line.trimEnd());
    line = "";
    used = 0;
  };
  for (const word of paragraph.split(/(?<=\s)/)) {
    if (used > 0 && used + widthOf(word.trimEnd()) > width) endLine();
    for (const { segment } of segments.segment(word)) {
      const cells = widthOf(segment);
      if (used > 0 && used + cells > width && segment.trim() !== "") endLine();
      line += segment;
      used += cells;
    }
  }
  endLine();
  return lines;
}
