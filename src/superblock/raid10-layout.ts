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

/** As people write it: n2, f2, o3. Null if it is none of these, or has fewer than one copy or more than 255. */
export function parseRaid10Layout(text: string): number | null {
  const match = /^([nfo])([1-9]\d{0,2})$/.exec(text);
  const copies = Number(match?.[2] ?? 0);
  if (match === null || copies > 0xff) return null;
  if (match[1] === "n") return 0x100 | copies;
  return (match[1] === "o" ? OFFSET_BIT : 0) | (copies << 8) | 1;
}

/** n2, f2, o3; with both kinds of copies `n2f2`. */
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

/** Far copies go `near` raid_disks on, within their set; the last set has what is left over as well. */
function nextFarDisk({ near, far, farSets }: Raid10Layout, raidDisks: number, raidDisk: number): number {
  const setSize = farSets === 0 ? raidDisks : farSets === 1 ? Math.floor(raidDisks / far) : near * far;
  const rest = raidDisks % setSize;
  const last = raidDisks - rest - setSize;
  const next = raidDisk + near;
  if (rest !== 0 && next > last) return last + ((next - last) % (setSize + rest));
  return Math.floor(raidDisk / setSize) * setSize + (next % setSize);
}
