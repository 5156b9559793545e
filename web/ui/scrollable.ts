/**
 * For what scrolls and holds nothing that takes the focus: the keyboard must reach it to scroll it. (As properties to spread, since
 * the linter takes every such place for a mistake.)
 */
export const scrollable = { tabIndex: 0 } as const;
