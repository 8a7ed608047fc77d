/** Bytes from the start of a device that `findSignature` looks at. */
export const SIGNATURE_BYTES = 128 * 1024;

interface Signature {
  readonly what: string;
  readonly at: number;
  readonly magic: readonly number[] | string;
  readonly label?: { readonly at: number; readonly bytes: number };
}

/** What file systems, partition tables and volume managers write at known places. */
const signatures: readonly Signature[] = [
  { what: "a LUKS volume", at: 0, magic: "LUKS\xba\xbe" },
  { what: "an xfs filesystem", at: 0, magic: "XFSB", label: { at: 108, bytes: 12 } },
  { what: "an ext2/3/4 filesystem", at: 0x438, magic: [0x53, 0xef], label: { at: 0x478, bytes: 16 } },
  { what: "a btrfs filesystem", at: 0x10040, magic: "_BHRfS_M", label: { at: 0x1012b, bytes: 64 } },
  { what: "a swap area", at: 4086, magic: "SWAPSPACE2", label: { at: 1052, bytes: 16 } },
  { what: "an LVM physical volume", at: 0x200, magic: "LABELONE" },
  { what: "an NTFS filesystem", at: 3, magic: "NTFS    " },
  { what: "a FAT filesystem", at: 82, magic: "FAT32   ", label: { at: 71, bytes: 11 } },
  { what: "a FAT filesystem", at: 54, magic: "FAT16   ", label: { at: 43, bytes: 11 } },
  { what: "an iso9660 filesystem", at: 0x8001, magic: "CD001", label: { at: 0x8028, bytes: 32 } },
  { what: "a squashfs filesystem", at: 0, magic: "hsqs" },
  { what: "an f2fs filesystem", at: 1024, magic: [0x10, 0x20, 0xf5, 0xf2] },
  { what: "a gfs2 filesystem", at: 0x10000, magic: [0x01, 0x16, 0x19, 0x70] },
  { what: "an ocfs2 filesystem", at: 0x2000, magic: "OCFSV2" },
  { what: "a GPT partition table", at: 512, magic: "EFI PART" },
];

const PARTITION_TYPES_AT = [450, 466, 482, 498];

/** What the beginning of a device says that it holds, e.g. `an ext2/3/4 filesystem "data"`; null for nothing known. */
export function findSignature(start: Uint8Array): string | null {
  for (const { what, at, magic, label } of signatures) {
    if (!startsWith(start, at, magic)) continue;
    const text = label === undefined ? "" : labelText(start.subarray(label.at, label.at + label.bytes));
    return text === "" ? what : `${what} "${text}"`;
  }
  const bootable = start[510] === 0x55 && start[511] === 0xaa;
  return bootable && PARTITION_TYPES_AT.some((at) => start[at] !== 0) ? "a DOS partition table" : null;
}

function startsWith(bytes: Uint8Array, at: number, magic: readonly number[] | string): boolean {
  const wanted = typeof magic === "string" ? Array.from(magic, (char) => char.charCodeAt(0)) : magic;
  return wanted.every((byte, i) => bytes[at + i] === byte);
}

function labelText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return text.replace(/[^\x20-\x7e]/g, "?").trim();
}
