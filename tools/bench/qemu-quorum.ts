import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface Server {
  readonly uri: string;
  stop(): Promise<void>;
}

/** The part of both files that is served. */
export interface Area {
  readonly offset: number;
  readonly size: number;
}

/**
 * QEMU's mirror: the quorum driver (two children, one vote) behind qemu-storage-daemon, over an area of two files. With
 * O_DIRECT it uses native asynchronous IO, which is its fastest way here; on tmpfs its own thread pool. Without file
 * locks: others serve the same files, in turns.
 */
export async function startQuorum(
  socket: string,
  legs: readonly [string, string],
  { offset, size }: Area,
  direct: boolean,
  readPattern: "quorum" | "fifo",
): Promise<Server> {
  const cache = direct ? "file.cache.direct=on,file.aio=native" : "file.cache.direct=off,file.aio=threads";
  const leg = (file: string, node: string) =>
    `driver=raw,node-name=${node},offset=${offset},size=${size},file.driver=file,file.filename=${file},file.locking=off,${cache}`;
  const child: ChildProcess = spawn(
    "qemu-storage-daemon",
    [
      ...["--blockdev", leg(legs[0], "leg0"), "--blockdev", leg(legs[1], "leg1"), "--blockdev"],
      `driver=quorum,node-name=mirror,children.0=leg0,children.1=leg1,vote-threshold=1,read-pattern=${readPattern}`,
      ...["--nbd-server", `addr.type=unix,addr.path=${socket}`],
      ...["--export", "type=nbd,id=export,node-name=mirror,name=disk,writable=on"],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error("qemu-storage-daemon did not start");
    await sleep(20);
  }
  return {
    uri: `nbd+unix:///disk?socket=${socket}`,
    async stop() {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}
