import type { Examination } from "../../array/examine.ts";
import type { ArrayInfo } from "../../daemon/control-api.ts";
import { mdUuidText } from "../../superblock/uuid.ts";
import { safeText } from "./safe-text.ts";

/** `mdadm --detail --export`. */
export function exportedArray(array: ArrayInfo): string {
  const devices = array.members.flatMap(({ path, slot, role }) => {
    if (path === null) return [];
    const key = path.replace(/[^A-Za-z0-9]/g, "_").replace(/^_/, "");
    return [`MD_DEVICE_${key}_ROLE=${slot ?? role}`, `MD_DEVICE_${key}_DEV=${path}`];
  });
  return lines([
    `MD_LEVEL=${array.level}`,
    `MD_DEVICES=${array.raidDevices}`,
    `MD_METADATA=${array.metadata}`,
    `MD_UUID=${array.uuid}`,
    `MD_DEVNAME=${array.name}`,
    `MD_NAME=${array.homehost ?? "any"}:${array.name}`,
    ...devices,
  ]);
}

/** `mdadm --examine --export`. */
export function exportedMember({ superblock }: Examination): string {
  return lines([
    `MD_LEVEL=raid${superblock.level}`,
    `MD_DEVICES=${superblock.raidDisks}`,
    `MD_NAME=${superblock.setName}`,
    `MD_UUID=${mdUuidText(superblock.setUuid)}`,
    `MD_UPDATE_TIME=${superblock.utime.seconds}`,
    `MD_DEV_UUID=${mdUuidText(superblock.deviceUuid)}`,
    `MD_EVENTS=${superblock.events}`,
  ]);
}

/** Scripts source these lines: nothing in a value may end one. */
const lines = (values: readonly string[]): string => values.map((value) => `${safeText(value)}\n`).join("");
