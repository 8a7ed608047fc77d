import type { ErrorInfo, Note } from "../daemon/control-api.ts";

/** The one document of `--json` (command line specification, 2.3). Within a major version fields are only ever added. */
export interface Envelope<T> {
  readonly schema: "mdctl/1";
  /** The verb, in both spellings. */
  readonly command: string;
  readonly ok: boolean;
  readonly exitCode: number;
  readonly time: string;
  readonly node: string;
  readonly cluster: string | null;
  readonly data: T | null;
  readonly warnings: readonly Note[];
  readonly error: ErrorInfo | null;
}

export interface EnvelopeParts {
  readonly command: string;
  readonly exitCode: number;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly node: string;
  readonly cluster: string | null;
  readonly data: unknown;
  readonly warnings: readonly Note[];
  readonly error: ErrorInfo | null;
}

export function envelope(parts: EnvelopeParts): Envelope<unknown> {
  return {
    schema: "mdctl/1",
    command: parts.command,
    ok: parts.error === null,
    exitCode: parts.exitCode,
    time: new Date(parts.now).toISOString(),
    node: parts.node,
    cluster: parts.cluster,
    data: parts.data ?? null,
    warnings: parts.warnings,
    error: parts.error,
  };
}
