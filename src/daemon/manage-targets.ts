import { closeSync, openSync } from "node:fs";
import { basename } from "node:path";
import { MdError } from "../base/md-error.ts";
import type { MemberStatus } from "../cluster/array-status.ts";
import { mdUuidText, parseUuid } from "../superblock/uuid.ts";
import type { ArraySession } from "./array-session.ts";
import { samePath } from "./device-scan.ts";

/** mdadm's words for any number of members: `faulty` and `failed` are one. */
export type MemberWord = "faulty" | "detached";

export function memberWord(text: string): MemberWord | null {
  if (text === "faulty" || text === "failed") return "faulty";
  return text === "detached" ? "detached" : null;
}

/** The members that a word or a name stands for. E_MEMBER_NOT_FOUND for a name that is no member's. */
export function manageTargets(session: ArraySession, member: string): readonly MemberStatus[] {
  const members = session.status().members.filter(({ number }) => number >= 0);
  const word = memberWord(member);
  if (word === "faulty") return members.filter(({ state }) => state === "faulty");
  if (word === "detached") return members.filter(({ path }) => path === null || isDetached(path));
  const found = members.find((one) => isCalled(one, member));
  if (found !== undefined) return [found];
  throw new MdError("E_MEMBER_NOT_FOUND", `${member} is not a member of ${session.name}`, {
    hint: `mdctl detail ${session.name}`,
  });
}

/** By device UUID, by path (any name of the device), or by the kernel's name. */
export function isCalled({ path, deviceUuid }: MemberStatus, member: string): boolean {
  if (member.startsWith("UUID_SUB=")) {
    const wanted = mdUuidText(parseUuid(member.slice("UUID_SUB=".length)));
    return deviceUuid !== null && mdUuidText(deviceUuid) === wanted;
  }
  if (path === null) return false;
  return member.includes("/") ? samePath(path, member) : basename(path) === member;
}

/** The device has been taken away: its name is gone, or nothing is behind it any more. */
function isDetached(path: string): boolean {
  try {
    closeSync(openSync(path, "r"));
    return false;
  } catch (error) {
    return ["ENOENT", "ENXIO", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "");
  }
}
