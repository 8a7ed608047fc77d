import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";

export interface GuestOutcome {
  /** -1: a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What guest-agent.mjs says. */
interface Reply {
  readonly ready?: true;
  readonly id?: number;
  readonly exitCode?: number | null;
  readonly signal?: string | null;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly bytes?: string;
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

const COMMAND_LIMIT_MS = 120_000;

/** A booted guest. Commands may run beside each other. Everything rejects, with the console's end, once the guest is gone. */
export class Guest {
  readonly name: string;
  readonly ended: Promise<void>;
  readonly #qemu: ChildProcess;
  readonly #socket: Socket;
  readonly #consoleLog: string;
  readonly #waiting = new Map<number, Waiting>();
  #commands = 0;
  #gone: string | null = null;
  /** Of a guest that has ended: its console's file may be removed. */
  #lastLog: string | null = null;

  /** Resolves when the guest's agent answers. */
  static async boot(name: string, qemu: ChildProcess, socket: Socket, consoleLog: string): Promise<Guest> {
    const guest = new Guest(name, qemu, socket, consoleLog);
    await guest.#reply(0);
    return guest;
  }

  private constructor(name: string, qemu: ChildProcess, socket: Socket, consoleLog: string) {
    this.name = name;
    this.#qemu = qemu;
    this.#socket = socket;
    this.#consoleLog = consoleLog;
    // A broken connection needs no word of its own: QEMU's end tells it. readline says its input's errors again.
    socket.on("error", () => {});
    createInterface({ input: socket })
      .on("line", (line) => this.#hear(JSON.parse(line) as Reply))
      .on("error", () => {});
    this.ended = new Promise((resolve) => {
      const end = (why: string): void => {
        this.#gone ??= why;
        this.#lastLog = this.log;
        const error = this.#error(this.#gone);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        resolve();
      };
      if (qemu.exitCode !== null || qemu.signalCode !== null) end("QEMU has ended");
      qemu.once("exit", (code, signal) => end(`QEMU ended with ${signal ?? code}`));
    });
  }

  /** Runs a shell command line to its end. Background processes of it go on. */
  async run(command: string, limitMs: number = COMMAND_LIMIT_MS): Promise<GuestOutcome> {
    const reply = await this.#ask({ command, limitMs });
    const { exitCode, stdout = "", stderr = "" } = reply;
    const killed = reply.signal == null ? "" : `\nended by ${reply.signal} (the limit is ${limitMs} ms)`;
    return { exitCode: exitCode ?? -1, stdout, stderr: stderr + killed };
  }

  /** What a command that must succeed prints. */
  async output(command: string, limitMs?: number): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(command, limitMs);
    if (exitCode === 0) return stdout;
    throw this.#error(`${command}\nended with ${exitCode}\n${stdout}${stderr}`);
  }

  /** A file's bytes. */
  async readFile(path: string): Promise<Buffer> {
    const { bytes, error } = await this.#ask({ read: path });
    if (bytes === undefined) throw this.#error(error ?? `no answer for ${path}`);
    return Buffer.from(bytes, "base64");
  }

  /** All that the guest's console has shown. */
  get log(): string {
    return this.#lastLog ?? readFileSync(this.#consoleLog, "utf8");
  }

  /** As if its power were cut. */
  async kill(): Promise<void> {
    this.#gone ??= "killed";
    this.#qemu.kill("SIGKILL");
    await this.ended;
  }

  #ask(request: object): Promise<Reply> {
    const id = ++this.#commands;
    this.#socket.write(`${JSON.stringify({ id, ...request })}\n`);
    return this.#reply(id);
  }

  #reply(id: number): Promise<Reply> {
    if (this.#gone !== null) return Promise.reject(this.#error(this.#gone));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #hear(reply: Reply): void {
    const id = reply.ready === true ? 0 : (reply.id ?? -1);
    this.#waiting.get(id)?.resolve(reply);
    this.#waiting.delete(id);
  }

  #error(what: string): Error {
    return new Error(`guest ${this.name}: ${what}\n--- console ---\n${this.log.split("\n").slice(-40).join("\n")}`);
  }
}
