/**
 * Postgres array literals, built by hand: node-postgres quotes every element of every array, numbers included, which
 * cost more than a third of the time of a group commit in the driver. Only for values whose form is known.
 */

/** Numbers and booleans need no quotes. */
export const toArrayLiteral = (values: readonly (number | boolean)[]): string => `{${values.join(",")}}`;

/** UUIDs need none either. The caller has checked their form. */
export const toUuidArrayLiteral = (values: readonly string[]): string => `{${values.join(",")}}`;

/** Any text without U+0000. */
export function toTextArrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/[\\"]/g, "\\$&")}"`).join(",")}}`;
}
