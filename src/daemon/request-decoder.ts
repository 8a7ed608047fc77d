import { MdError } from "../base/md-error.ts";
import { CONTROL_API_VERSION, type ControlMethod } from "./control-api.ts";
import { methods } from "./methods/methods.ts";

export interface DecodedRequest {
  readonly id: number;
  readonly method: ControlMethod;
  readonly params: unknown;
  readonly trace: string | null;
}

/** A refusal that still knows which request it answers, where that could be read. */
export class RequestRefused extends Error {
  override readonly name = "RequestRefused";
  readonly id: number | null;
  readonly reason: MdError;

  constructor(id: number | null, reason: MdError) {
    super(reason.message);
    this.id = id;
    this.reason = reason;
  }
}

/** One line of a client's, believing nothing. Throws RequestRefused: E_VALUE, E_PROTOCOL_VERSION. */
export function decodeRequest(line: string): DecodedRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RequestRefused(null, new MdError("E_VALUE", "a request is not JSON"));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestRefused(null, new MdError("E_VALUE", "a request is not a JSON object"));
  }
  const { v, id, method, params, trace } = value as Record<string, unknown>;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0) {
    throw new RequestRefused(null, new MdError("E_VALUE", "a request has no usable id"));
  }
  if (v !== CONTROL_API_VERSION) {
    throw new RequestRefused(
      id,
      new MdError("E_PROTOCOL_VERSION", `control protocol version ${JSON.stringify(v) ?? "none"} is not spoken here`, {
        why: `this daemon speaks version ${CONTROL_API_VERSION}`,
      }),
    );
  }
  if (typeof method !== "string" || !Object.hasOwn(methods, method)) {
    const shown = typeof method === "string" ? JSON.stringify(method.slice(0, 40)) : "none";
    throw new RequestRefused(id, new MdError("E_VALUE", `there is no method ${shown}`));
  }
  if (trace !== undefined && (typeof trace !== "string" || trace.length > 128)) {
    throw new RequestRefused(id, new MdError("E_VALUE", "trace is not a short string"));
  }
  return { id, method: method as ControlMethod, params: params ?? {}, trace: trace ?? null };
}
