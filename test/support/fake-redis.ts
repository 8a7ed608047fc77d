import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** What a server that cannot be trusted says to a command: bytes, nothing at all (null), or the end of the connection. */
export type Say = string | Buffer | null | "hang up" | Marked;

/** What a function of ours returns, behind the mark of the call (packed-reply.ts). */
interface Marked {
  readonly reply: Buffer;
}

export interface FakeRedis {
  readonly url: string;
  /** Commands so far, words joined by a space. */
  readonly heard: string[];
  stop(): Promise<void>;
}

export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

export const bulkOf = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n")]);

/** The mark of a call: FCALL name keys... and then its arguments, which begin with it. */
export const markOf = ([, , keys = "0", ...words]: readonly string[]): Buffer =>
  Buffer.from((words[Number(keys)] ?? "").slice(0, 8), "latin1");

const INFO = "redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\nloading:0\r\n";

/** Answers what it takes to be taken for a Redis with our functions loaded; `say` may answer otherwise. */
export async function startFakeRedis(say: (words: readonly string[]) => Say | undefined): Promise<FakeRedis> {
  const heard: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let command = takeCommand(rest); command !== null; command = takeCommand(rest)) {
        rest = rest.subarray(command.length);
        heard.push(command.words.join(" "));
        const said = say(command.words);
        const answer = said === undefined ? usual(command.words) : said;
        if (answer === "hang up") socket.destroy();
        else if (answer !== null) socket.write(bytesOf(answer, command.words));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `redis://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    heard,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

export function bytesOf(answer: string | Buffer | Marked, words: readonly string[]): string | Buffer {
  if (typeof answer === "string" || Buffer.isBuffer(answer)) return answer;
  return bulkOf(words[0] === "FCALL" ? Buffer.concat([markOf(words), answer.reply]) : answer.reply);
}

function usual([name = "", sub = ""]: readonly string[]): Say {
  switch (name.toUpperCase()) {
    case "INFO":
      return bulk(INFO);
    case "FUNCTION":
      return sub === "LIST" ? `*1\r\n${bulk("library")}` : "+OK\r\n";
    case "SUBSCRIBE":
      return `*3\r\n${bulk("subscribe")}${bulk(sub)}:1\r\n`;
    default:
      return "+OK\r\n";
  }
}

/** `*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n`; null: not whole yet. */
function takeCommand(bytes: Buffer): { readonly words: string[]; readonly length: number } | null {
  const words: string[] = [];
  let at = 0;
  const line = (): string | null => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return null;
    const text = bytes.toString("latin1", at + 1, end);
    at = end + 2;
    return text;
  };
  const count = line();
  if (count === null) return null;
  for (let n = 0; n < Number(count); n++) {
    const size = line();
    if (size === null || bytes.length < at + Number(size) + 2) return null;
    words.push(bytes.toString("latin1", at, at + Number(size)));
    at += Number(size) + 2;
  }
  return { words, length: at };
}
