import type { AssembleParams } from "./control-api.ts";
import type { Daemon } from "./daemon.ts";
import { arrayUuid } from "./daemon.ts";
import { assemble } from "./methods/assemble.ts";

/**
 * Takes up the disks that this node's last daemon has left: their arrays are assembled again, and who waits for one of them
 * goes on. What cannot be taken up waits on, and the journal says why. Never rejects.
 */
export async function recoverDisks(daemon: Daemon): Promise<void> {
  try {
    if (!(await daemon.ublk.hasOrphans())) return;
    const names = new Map(
      (await daemon.scan.all()).map(({ superblock }) => [arrayUuid(superblock), superblock.setName]),
    );
    for (const [uuid, name] of names) {
      if (daemon.session(uuid) === null && (await daemon.ublk.hasOrphan(uuid))) await recoverOne(daemon, uuid, name);
    }
  } catch (error) {
    daemon.tell("warn", "RECOVER", null, `disks of the last daemon were not looked for: ${reason(error)}`);
  }
}

async function recoverOne(daemon: Daemon, uuid: string, name: string): Promise<void> {
  try {
    await assemble.run(wanted(uuid), {
      daemon,
      emit: () => {},
      warn: () => {},
      signal: new AbortController().signal,
    });
    daemon.tell("info", "RECOVERED", name, `${daemon.session(uuid)?.mapping?.device} goes on under this daemon`);
  } catch (error) {
    const hint = `mdctl assemble ${name}, mdctl map --recover ${name}`;
    daemon.tell("error", "RECOVER", name, `its disk still waits: ${reason(error)}; ${hint}`);
  }
}

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const wanted = (uuid: string): AssembleParams => ({
  array: null,
  uuid,
  name: null,
  members: [],
  scan: false,
  run: false,
  noDegraded: false,
  force: false,
  readOnly: false,
  homeCluster: null,
  updateNodes: null,
  map: true,
});
