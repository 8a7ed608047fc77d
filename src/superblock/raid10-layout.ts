/** RAID10's layout word: how many copies, and where they go. Source: on-disk format, section 16. */
export interface Raid10Layout {
  /** Copies side by side, on consecutive raid_disks. */
  readonly near: number;
  /** Copies far down on other raid_disks; with `offset` in the next row instead. */
  readonly far: number;
  readonly offset: boolean;
  /** How raid_disks form the sets within which far copies go round: 0: all one, 1: by `far` (as md once had it), 2: small. */
  readonly farSets: number;
}

const OFFSET_BIT = 0x1_0000;

export const decodeRaid10Layout = (word: number): Raid10Layout => ({
  near: word & 0xff,
  far: (word >>> 8) & 0xff,
  offset: (word & OFFSET_BIT) !== 0,
  farSets: word >>> 17,
});

export const copiesOf = ({ near, far }: Raid10Layout): number => near * far;

/** All copies side by side: the only kind that a clustered array may have. */
export const isNear = ({ far, offset }: Raid10Layout): boolean => far === 1 && !offset;

/**
 * As people write it: n2, f2, o3; n2f2 for near copies in each of two far sections. Null if it is none of these, or has
 * fewer than one copy of a kind or more than 255.
 */
export function parseRaid10Layout(text: string): number | null {
  const match = /^(?=.)(?:n([1-9]\d{0,2}))?(?:([fo])([1-9]\d{0,2}))?$/.exec(text);
  if (match === null) return null;
  const [near, far] = [Number(match[1] ?? 1), Number(match[3] ?? 1)];
  if (near > 0xff || far > 0xff) return null;
  return (match[2] === "o" ? OFFSET_BIT : 0) | (far << 8) | near;
}

/** n2, f2, o3; with both kinds of copies `n2f2`. How members form far sets it does not say, as md's tools do not. */
export function raid10LayoutName(word: number): string {
  const layout = decodeRaid10Layout(word);
  const { near, far, offset } = layout;
  if (isNear(layout)) return `n${near}`;
  const farName = `${offset ? "o" : "f"}${far}`;
  return near === 1 ? farName : `n${near}${farName}`;
}

/** As `mdadm --detail` and `--examine` put it. */
export function raid10LayoutText(word: number): string {
  const { near, far, offset } = decodeRaid10Layout(word);
  const parts: string[] = [];
  if (near !== 1 || far === 1) parts.push(`near=${near}`);
  if (far > 1) parts.push(`${offset ? "offset" : "far"}=${far}`);
  return parts.join(", ");
}

/** Where a copy goes, from the first one's raid_disk and row. */
export interface CopyPlace {
  readonly raidDisk: number;
  /** A near copy went round the end of the raid_disks, into the next row. */
  readonly wrapped: boolean;
  /** Which far copy: 0 is the first section of the member (or row of a pair). */
  readonly far: number;
}

/** The copies of a chunk whose first one is on `first`, in the order of the map. */
export function copyPlaces(layout: Raid10Layout, raidDisks: number, first: number): readonly CopyPlace[] {
  const places: CopyPlace[] = [];
  for (let near = 0; near < layout.near; near++) {
    let raidDisk = (first + near) % raidDisks;
    const wrapped = first + near >= raidDisks;
    for (let far = 0; far < layout.far; far++) {
      if (far > 0) raidDisk = nextFarDisk(layout, raidDisks, raidDisk);
      places.push({ raidDisk, wrapped, far });
    }
  }
  return places;
}

/**
 * Does each chunk have its copies on different members, and no two chunks the same place? With some layouts md's own
 * formula goes wrong: small far sets on a number of members that they do not divide, near copies that go round into a
 * row of offset copies. An unknown kind of far sets keeps nothing.
 */
export function keepsCopiesApart(layout: Raid10Layout, raidDisks: number): boolean {
  const { near, far, offset, farSets } = layout;
  if (near < 1 || far < 1 || near * far > raidDisks || farSets > 2) return false;
  if (offset && near > 1 && raidDisks % near !== 0) return false;
  if (!copyGroupsOf(layout, raidDisks).every((group) => new Set(group).size === group.length)) return false;
  // In each far section (or row), every raid_disk has the copies of one other.
  const taken = Array.from({ length: far }, () => new Set<number>());
  for (let disk = 0; disk < raidDisks; disk++) {
    // The first near copy's, of whatever chunk has it here.
    const chain = copyPlaces(layout, raidDisks, disk).slice(0, far);
    for (const { raidDisk, far: section } of chain) taken[section]?.add(raidDisk);
  }
  return taken.every((disks) => disks.size === raidDisks);
}

/** The raid_disks of the copies of each chunk: as many groups as there are first copies, then they come again. */
export function copyGroupsOf(layout: Raid10Layout, raidDisks: number): readonly (readonly number[])[] {
  const groups: number[][] = [];
  let first = 0;
  do {
    groups.push(copyPlaces(layout, raidDisks, first).map(({ raidDisk }) => raidDisk));
    first = (first + layout.near) % raidDisks;
  } while (first !== 0);
  return groups;
}

/** Far copies go `near` raid_disks on, within their set; the last set has what is left over as well. */
function nextFarDisk({ near, far, farSets }: Raid10Layout, raidDisks: number, raidDisk: number): number {
  const setSize = farSets === 0 ? raidDisks : farSets === 1 ? Math.floor(raidDisks / far) : near * far;
  const rest = raidDisks % setSize;
  const last = raidDisks - rest - setSize;
  const next = raidDisk + near;
  if (rest !== 0 && next > last) return last + ((next - last) % (setSize + rest));
  return Math.floor(raidDisk / setSize) * setSize + (next % setSize);
}
