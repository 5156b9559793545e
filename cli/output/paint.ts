/** Colours, or none. */
import { styleText } from "node:util";

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan" | "gray";
export type Paint = Readonly<Record<Style, (text: string) => string>>;

export function createPaint(enabled: boolean): Paint {
  const paint = (style: Style) => (text: string) =>
    enabled ? styleText(style, text, { validateStream: false }) : text;
  return {
    bold: paint("bold"),
    dim: paint("dim"),
    red: paint("red"),
    green: paint("green"),
    yellow: paint("yellow"),
    blue: paint("blue"),
    magenta: paint("magenta"),
    cyan: paint("cyan"),
    gray: paint("gray"),
  };
}
