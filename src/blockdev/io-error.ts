import { MdError, type MdErrorCode } from "../base/md-error.ts";

const codes: Readonly<Record<string, MdErrorCode>> = {
  ENOENT: "E_NO_DEVICE",
  ENOTDIR: "E_NO_DEVICE",
  ENXIO: "E_NO_DEVICE",
  ENODEV: "E_NO_DEVICE",
  ENOMEDIUM: "E_NO_DEVICE",
  EACCES: "E_PERMISSION",
  EPERM: "E_PERMISSION",
  EROFS: "E_PERMISSION",
  EBUSY: "E_DEVICE_BUSY",
};

/** A failed call on a device or socket, as people see it: what, on which path, and the system's word for why. */
export function ioError(action: string, path: string, cause: unknown): MdError {
  const errno = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  return new MdError(codes[errno ?? ""] ?? "E_IO", `cannot ${action} ${path}: ${errno ?? String(cause)}`, {
    cause,
    details: { path, errno: errno ?? null },
  });
}
