import { MdError } from "../base/md-error.ts";
import { mdUuidText, uuidText } from "../superblock/uuid.ts";
import { arrayUuid, type Daemon } from "./daemon.ts";
import type { Candidate } from "./member-preflight.ts";

/** E_DEVICE_BUSY for a member of an array that runs anywhere in the cluster: no option overrides that. */
export async function refuseRunning(daemon: Daemon, { path, superblock }: Candidate): Promise<void> {
  if (superblock === null) return;
  const uuid = arrayUuid(superblock);
  const here = daemon.session(uuid);
  if (here !== null) throw new MdError("E_DEVICE_BUSY", `${path} is a member of ${here.name}, which is assembled here`);
  const { cluster } = daemon.config;
  const { members = [] } = await daemon.master.call({ cluster, name: uuidText(superblock.setUuid) }, { op: "hello" });
  if (members.length === 0) return;
  const nodes = members.map(({ node }) => node).join(", ");
  throw new MdError("E_DEVICE_BUSY", `${path} is a member of an array that is in use on ${nodes}`, {
    why: `array uuid ${mdUuidText(superblock.setUuid)}`,
  });
}
