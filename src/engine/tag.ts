/**
 * What a completion belongs to: the high 8 bits of a tag say which part of the engine, the low 24 are its own. From
 * `frontEnd` on, all tags are the front end's.
 */
export const TagKind = {
  request: 0,
  bitmapPage: 1,
  memberFlush: 2,
  copy: 3,
  copyFlush: 4,
  pill: 5,
  rewrite: 6,
  /** To the ring all operations on members have this one; `MemberOps` knows what they belong to. */
  member: 7,
  frontEnd: 0x80,
} as const;

export const TAG_SHIFT = 24;
export const TAG_MASK = 0xffffff;

export const tagOf = (kind: number, index: number): number => ((kind << TAG_SHIFT) | index) >>> 0;
