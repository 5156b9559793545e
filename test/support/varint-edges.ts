/** Numbers where a varint grows by a byte, and where 28, 31 and 32 bits and what JavaScript counts exactly end. */
export const varintEdges: readonly number[] = [
  0,
  1,
  127,
  128,
  16_383,
  16_384,
  2 ** 28 - 1,
  2 ** 28,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 35,
  Number.MAX_SAFE_INTEGER,
];
