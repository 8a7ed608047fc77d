import { basename } from "node:path";
import type { ArrayInfo, Member } from "../../daemon/control-api.ts";
import { left, percentText } from "../text.ts";

/** One row a member of the selected array. */
export function memberRows(array: ArrayInfo, width: number): string[] {
  const device = Math.max(6, ...array.members.map((member) => nameOf(member).length)) + 2;
  const state = 22;
  const errors = 11;
  const wide = width >= device + state + errors + 7;
  const heading = ` SLOT  ${left("DEVICE", device)}${left("STATE", state)}${wide ? left("ERR r/c/w", errors) : ""}SEEN BY`;
  const rows = array.members.map((member) => {
    const { read, corrected, write } = member.errors;
    const seen = member.seenBy.map(({ node }) => node).join(" ");
    const errorText = wide ? left(`${read}/${corrected}/${write}`, errors) : "";
    return `   ${member.slot ?? "-"}   ${left(nameOf(member), device)}${left(stateText(member, array), state)}${errorText}${seen}`;
  });
  return [heading, ...rows];
}

const nameOf = ({ path }: Member): string => (path === null ? "-" : basename(path));

function stateText(member: Member, { sizeBytes }: ArrayInfo): string {
  switch (member.role) {
    case "active":
      if (member.inSync) return "[OK] in sync";
      return `[>>] rebuilding ${percentText(((member.recoveryOffsetBytes ?? 0) / sizeBytes) * 100)}`;
    case "replacement":
      return "[>>] replacement";
    case "spare":
      return "[OK] spare";
    case "faulty":
      return "[XX] faulty";
    case "removed":
    case "missing":
      return `[XX] ${member.role}`;
    default:
      return member.role satisfies never;
  }
}
