import type { World } from "../../src/cli/world.ts";
import type { ControlMethod, ControlMethods } from "../../src/daemon/control-api.ts";
import type { Answer, RequestOptions } from "../../src/daemon/control-client.ts";

type Handlers = { readonly [M in ControlMethod]?: (params: ControlMethods[M]["params"]) => ControlMethods[M]["data"] };

export interface FakeWorldOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Both standard input and error are terminals. */
  readonly terminal?: boolean;
  /** What is typed, line by line. */
  readonly typed?: readonly string[];
  /** What the daemon answers; absent: there is no daemon. */
  readonly daemon?: Handlers;
}

/** A world for `runCommandLine` that keeps what was printed and asked. */
export class FakeWorld implements World {
  readonly env: Record<string, string>;
  readonly cwd: string;
  readonly hostname = "host.example";
  readonly stdinIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  out = "";
  err = "";
  /** Every request, in order. */
  readonly requests: { readonly method: ControlMethod; readonly params: unknown }[] = [];
  readonly #typed: string[];
  readonly #daemon: Handlers | undefined;

  constructor(options: FakeWorldOptions = {}) {
    this.env = options.env ?? {};
    this.cwd = options.cwd ?? "/nowhere";
    this.stdinIsTerminal = options.terminal ?? false;
    this.stderrIsTerminal = options.terminal ?? false;
    this.#typed = [...(options.typed ?? [])];
    this.#daemon = options.daemon;
  }

  stdout(text: string): void {
    this.out += text;
  }

  stderr(text: string): void {
    this.err += text;
  }

  readLine(): Promise<string | null> {
    return Promise.resolve(this.#typed.shift() ?? null);
  }

  connect(path: string): ReturnType<World["connect"]> {
    const daemon = this.#daemon;
    if (daemon === undefined) return Promise.reject(new Error(`the test has no daemon at ${path}`));
    const answer = <M extends ControlMethod>(method: M, params: ControlMethods[M]["params"]): Answer<M> => {
      this.requests.push({ method, params });
      const handler = daemon[method];
      if (handler === undefined) throw new Error(`the test does not expect the request ${method}`);
      return { data: handler(params), node: "n1", cluster: "alpha", warnings: [] };
    };
    return Promise.resolve({
      request: async <M extends ControlMethod>(
        method: M,
        params: ControlMethods[M]["params"],
        _options?: RequestOptions<M>,
      ): Promise<Answer<M>> => answer(method, params),
      close: () => {},
    });
  }

  now(): number {
    return Date.UTC(2026, 10, 20, 10, 3, 20);
  }

  onInterrupt(): void {}
}
