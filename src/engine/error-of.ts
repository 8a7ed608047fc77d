import { MdError, type MdErrorCode, type MdErrorOptions, mdErrorCodes } from "../base/md-error.ts";

/** The MdError that crossed from the other thread as text. */
export function errorOf(code: string, message: string, options: MdErrorOptions = {}): MdError {
  const known: MdErrorCode | undefined = mdErrorCodes.find((one) => one === code);
  return new MdError(known ?? "E_INTERNAL", message, options);
}
