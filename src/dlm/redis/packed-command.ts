import { Command } from "ioredis";

/** Bytes of RESP2, as the client library would write them: a command of `words`, up to `args` arguments that follow. */
export function commandHead(words: readonly (string | number)[], args: number): Buffer {
  const bulk = (word: string | number): string => `$${Buffer.byteLength(`${word}`)}\r\n${word}\r\n`;
  return Buffer.from(`*${words.length + args}\r\n${words.map(bulk).join("")}`);
}

/** A command whose bytes are put together already. Its answer is bytes. */
export class PackedCommand extends Command {
  readonly #bytes: Buffer;

  constructor(head: Buffer, args: readonly Buffer[]) {
    super("FCALL");
    this.#bytes = join(head, args);
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}

function join(head: Buffer, args: readonly Buffer[]): Buffer {
  const lengths = args.map(({ length }) => `$${length}\r\n`);
  const total = args.reduce((sum, arg, at) => sum + (lengths[at]?.length ?? 0) + arg.length + 2, head.length);
  const bytes = Buffer.allocUnsafe(total);
  let end = head.copy(bytes);
  args.forEach((arg, at) => {
    end += bytes.write(lengths[at] ?? "", end, "latin1");
    end += arg.copy(bytes, end);
    end += bytes.write("\r\n", end, "latin1");
  });
  return bytes;
}
