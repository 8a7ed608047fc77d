import type { Guest } from "../../tools/vm/boot.ts";

/** What the guest of a `KernelMd` needs. */
export const mdGuest = { modules: ["md-mod", "raid1", "raid10"], programs: ["mdadm"] };

const inGuest = (disks: readonly string[]): string => disks.map((name) => `/dev/disk/${name}`).join(" ");

/** One array of a guest's kernel, by the guest's mdadm. */
export class KernelMd {
  readonly #guest: Guest;
  readonly #device: string;

  constructor(guest: Guest, device: string) {
    this.#guest = guest;
    this.#device = device;
  }

  /** `mdadm ARGUMENTS`, which must succeed; nobody makes device names there but the kernel. */
  mdadm(args: string): Promise<string> {
    return this.#guest.output(`mkdir -p /run/mdadm; TZ=UTC MDADM_NO_UDEV=1 mdadm ${args} 2>&1`);
  }

  assemble(disks: readonly string[], options = ""): Promise<string> {
    return this.mdadm(`--assemble ${options} /dev/${this.#device} ${inGuest(disks)}`);
  }

  async create(disks: readonly string[], options: string): Promise<void> {
    await this.mdadm(`--create --run --homehost=any ${options} /dev/${this.#device} ${inGuest(disks)}`);
  }

  stop(): Promise<string> {
    return this.mdadm(`--stop /dev/${this.#device}`);
  }

  /** What `mdadm --detail` says, by its labels. */
  async detail(): Promise<ReadonlyMap<string, string>> {
    return fieldsOf(await this.mdadm(`--detail /dev/${this.#device}`));
  }

  /** Takes the array's word back that all of its copies may differ. Only while it is read-only. */
  async withoutResync(): Promise<void> {
    const md = `/sys/block/${this.#device}/md`;
    const steps = [`echo frozen >${md}/sync_action`, `echo none >${md}/resync_start`, `echo idle >${md}/sync_action`];
    await this.#guest.output(steps.join(" && "));
  }

  /** Until all raid disks are filled. */
  async whole(): Promise<void> {
    await this.#guest.output(`until [ "$(cat /sys/block/${this.#device}/md/degraded)" = 0 ]; do sleep 0.2; done`);
  }

  /** Sectors that differ between the copies, in the kernel's count: 128 for each 64 KiB in which something differs. */
  async mismatches(): Promise<number> {
    await this.#scrub("check");
    return Number((await this.#guest.output(`cat /sys/block/${this.#device}/md/mismatch_cnt`)).trim());
  }

  async repair(): Promise<void> {
    await this.#scrub("repair");
  }

  /** Waits for its turn, behind whatever the kernel copies or is about to copy: until then it says EBUSY. */
  async #scrub(action: "check" | "repair"): Promise<void> {
    const file = `/sys/block/${this.#device}/md/sync_action`;
    await this.#guest.output(
      `until echo ${action} >${file}; do sleep 0.2; done; until [ "$(cat ${file})" = idle ]; do sleep 0.2; done`,
    );
  }

  /** MD5 of all that the array holds. */
  async content(): Promise<string> {
    const path = `/dev/${this.#device}`;
    const [sum = ""] = (await this.#guest.output(`blockdev --flushbufs ${path}; md5sum <${path}`)).split(" ");
    return sum;
  }
}

/** Lines of `Label : value`. */
function fieldsOf(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, label, value] = /^\s*(\S[^:]*?) : (.*?)\s*$/.exec(line) ?? [];
    if (label !== undefined && value !== undefined) fields.set(label, value);
  }
  return fields;
}
