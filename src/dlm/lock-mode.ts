/** The six modes of a DLM, weakest first; the index is the numeric value of Linux fs/dlm (NL=0 .. EX=5). */
export const lockModes = ["NL", "CR", "CW", "PR", "PW", "EX"] as const;

export type LockMode = (typeof lockModes)[number];

const yes = true;
const no = false;

/** Row: held by another. Column: asked for. (fs/dlm/lock.c, __dlm_compat_matrix) */
const compatible: Record<LockMode, Record<LockMode, boolean>> = {
  NL: { NL: yes, CR: yes, CW: yes, PR: yes, PW: yes, EX: yes },
  CR: { NL: yes, CR: yes, CW: yes, PR: yes, PW: yes, EX: no },
  CW: { NL: yes, CR: yes, CW: yes, PR: no, PW: no, EX: no },
  PR: { NL: yes, CR: yes, CW: no, PR: yes, PW: no, EX: no },
  PW: { NL: yes, CR: yes, CW: no, PR: no, PW: no, EX: no },
  EX: { NL: yes, CR: no, CW: no, PR: no, PW: no, EX: no },
};

export const modesCompatible = (held: LockMode, wanted: LockMode): boolean => compatible[held][wanted];
