import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll } from "vitest";

/** Images of clustered arrays that Linux md made, each with what mdadm 4.4 and the kernel say of it. */
export interface GoldenImage {
  readonly name: string;
  /** `d0`, as the texts of mdadm call it. */
  readonly disk: string;
  readonly packed: string;
  /** Bytes of the disk; the image may be only the head of it. */
  readonly diskBytes: number;
  readonly examine: string;
  readonly examineBitmap: string;
  readonly superblock: GoldenSuperblock;
  readonly slots: readonly GoldenSlot[];
}

interface GoldenSuperblock {
  readonly feature_map: number;
  readonly set_uuid: string;
  readonly name: string;
  readonly level: number;
  readonly layout: number;
  readonly size: number;
  readonly chunk_sectors: number;
  readonly raid_disks: number;
  readonly bitmap_offset: number;
  readonly data_offset: number;
  readonly data_size: number;
  readonly dev_number: number;
  readonly device_uuid: string;
  readonly events: number;
  readonly resync_offset: number;
  readonly recovery_offset: number;
  readonly max_dev: number;
  readonly dev_roles: readonly number[];
}

interface GoldenSlot {
  readonly slot: number;
  readonly byte_offset: number;
  readonly version: number;
  readonly events: number;
  readonly events_cleared: number;
  readonly sync_size: number;
  readonly state: number;
  readonly chunksize: number;
  readonly daemon_sleep: number;
  readonly write_behind: number;
  readonly sectors_reserved: number;
  readonly nodes: number;
  readonly cluster_name: string;
  readonly chunks: number;
  readonly dirty_chunks: readonly number[];
}

const root = process.env["MDCTL_GOLDEN"] ?? join("..", "shared", "golden");

/** Empty where the images are not to be had: tests of each of them are then none. */
export const goldenCases: readonly string[] = existsSync(root)
  ? readdirSync(root).filter((name) => existsSync(join(root, name, "info.json")))
  : [];

interface Info {
  readonly content: { readonly array_sha256_read_by_node?: Readonly<Record<string, string>> };
  readonly peer_repair?: { readonly array_sha256: string };
  readonly images: readonly {
    readonly file: string;
    readonly bytes?: number;
    readonly disk_bytes?: number;
    readonly examine: string;
    readonly examine_bitmap: string;
    readonly sb: GoldenSuperblock;
    readonly bitmap_slots: readonly (Omit<GoldenSlot, "dirty_chunks"> & { readonly dirty_chunks: PackedChunks })[];
  }[];
}

/** Long runs are given by their ends. */
type PackedChunks = readonly number[] | { readonly count: number; readonly first: number; readonly last: number };

function unpackChunks(packed: PackedChunks): readonly number[] {
  if (!("count" in packed)) return packed;
  const { count, first, last } = packed;
  if (count !== last - first + 1) throw new Error("the sidecar does not tell which chunks are dirty");
  return Array.from({ length: count }, (_, i) => first + i);
}

/**
 * SHA-256 of the whole array, as each node of the peer read it, or as it was after the peer had made the copies equal
 * (from the first ones); null where the sidecar says neither.
 */
export function goldenContentHash(name: string): string | null {
  const info = JSON.parse(readFileSync(join(root, name, "info.json"), "utf8")) as Info;
  const [read] = Object.values(info.content.array_sha256_read_by_node ?? {});
  return read ?? info.peer_repair?.array_sha256 ?? null;
}

export const goldenImages = (name: string): readonly GoldenImage[] => {
  // 64-bit fields that are all ones lose their last digits here: compare them as doubles.
  const info = JSON.parse(readFileSync(join(root, name, "info.json"), "utf8")) as Info;
  return info.images.map((image) => ({
    name,
    disk: image.file.split(".")[0] ?? "",
    packed: join(root, name, image.file),
    diskBytes: image.disk_bytes ?? image.bytes ?? 0,
    examine: image.examine,
    examineBitmap: image.examine_bitmap,
    superblock: image.sb,
    slots: image.bitmap_slots.map((slot) => ({ ...slot, dirty_chunks: unpackChunks(slot.dirty_chunks) })),
  }));
};

const unpacked = new Map<string, Promise<string>>();
let folder: string | null = null;

/**
 * A sparse, writable file with the whole disk, made once per process. Who changes it takes a copy. Removed after the
 * last test of the file.
 */
export function unpackGolden(image: GoldenImage): Promise<string> {
  const known = unpacked.get(image.packed);
  if (known !== undefined) return known;
  folder ??= mkdtempSync(join(tmpdir(), "mdctl-golden-"));
  const unpacking = unpack(image, join(folder, `${image.name}-${basename(image.packed, ".img.xz")}`));
  unpacked.set(image.packed, unpacking);
  return unpacking;
}

async function unpack(image: GoldenImage, path: string): Promise<string> {
  // xz leaves holes in what it writes to a file of its own making; a redirection through the shell is one too.
  await promisify(execFile)("sh", ["-c", 'xz -dc -- "$1" > "$2"', "sh", image.packed, path]);
  truncateSync(path, image.diskBytes);
  return path;
}

afterAll(() => {
  if (folder !== null) rmSync(folder, { recursive: true, force: true });
});
