import { DemoHost } from "../../src/cli/demo/demo-host.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import type { Area, Server } from "./qemu-quorum.ts";

export interface MdctlMirror extends Server {
  readonly members: readonly [string, string];
  /** Where the array's data lie on both. */
  readonly data: Area;
}

/** Our mirror as an operator would set it up: one node of a cluster, bitmap on, members in `parent`, NBD on a Unix socket. */
export async function startMdctlMirror(
  parent: string,
  memberBytes: number,
  fill: (path: string, bytes: number) => void,
): Promise<MdctlMirror> {
  const host = new DemoHost(null, memberBytes, parent);
  try {
    for (const member of host.members) fill(member, memberBytes);
    await host.startLockServer();
    await host.startNode("n1", "10s");
    const options = ["--level=1", "--cluster", "--assume-clean", "--run", "--file-members", "--no-map"];
    const { array } = await host.mdctl<{ array: ArrayInfo }>("n1", "create", "md0", ...options, ...host.members);
    await host.mdctl("n1", "wait", "md0");
    const { mapping } = await host.mdctl<{ mapping: Mapping }>("n1", "map", "md0");
    const data = { offset: array.dataOffsetBytes, size: array.sizeBytes };
    return { uri: mapping.uri, members: host.members, data, stop: () => host.close() };
  } catch (error) {
    await host.close();
    throw error;
  }
}
