import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import type { Area } from "./qemu-quorum.ts";

type Reply = Readonly<Record<string, unknown>>;

/** A conversation in QMP: one JSON object a line, events between the answers. */
class Qmp {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#lines = createInterface({ input: this.#socket })[Symbol.asyncIterator]();
  }

  /** The next message that fits; those before it are dropped. Rejects on an error or the end. */
  async next(fits: (message: Reply) => boolean): Promise<Reply> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error("qemu-storage-daemon hung up");
      const message = JSON.parse(value) as Reply;
      if ("error" in message) throw new Error(`qemu-storage-daemon: ${JSON.stringify(message["error"])}`);
      if (fits(message)) return message;
    }
  }

  async execute(command: string, args: Reply = {}): Promise<void> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    await this.next((message) => "return" in message);
  }

  end(): void {
    this.#socket.end();
  }
}

/**
 * QEMU's live resync: a blockdev-mirror job over the area of two files, O_DIRECT and its native asynchronous IO. Seconds
 * from the command to BLOCK_JOB_READY, when the copies are equal.
 */
export async function qemuMirrorSeconds(
  socket: string,
  [from, to]: readonly [string, string],
  area: Area,
): Promise<number> {
  const node = (name: string, file: string): string =>
    `driver=raw,node-name=${name},offset=${area.offset},size=${area.size},discard=unmap,file.driver=file,file.filename=${file},file.locking=off,file.cache.direct=on,file.aio=native`;
  const child = spawn(
    "qemu-storage-daemon",
    [
      ...["--chardev", `socket,id=qmp,path=${socket},server=on,wait=off`, "--monitor", "chardev=qmp"],
      ...["--blockdev", node("from", from), "--blockdev", node("to", to)],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const gone = once(child, "exit");
  try {
    while (!existsSync(socket)) {
      if (child.exitCode !== null) throw new Error("qemu-storage-daemon did not start");
      await pause(20);
    }
    const qmp = new Qmp(socket);
    await qmp.next((message) => "QMP" in message);
    await qmp.execute("qmp_capabilities");
    const began = performance.now();
    const job = { "job-id": "copy", device: "from", target: "to", sync: "full" };
    await qmp.execute("blockdev-mirror", job);
    await qmp.next(({ event }) => event === "BLOCK_JOB_READY");
    const seconds = (performance.now() - began) / 1000;
    await qmp.execute("job-complete", { id: "copy" });
    qmp.end();
    return seconds;
  } finally {
    child.kill("SIGTERM");
    await gone;
  }
}
