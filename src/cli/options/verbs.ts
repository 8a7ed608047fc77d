import { arrayVerbs } from "./array-verbs.ts";
import { clusterVerbs } from "./cluster-verbs.ts";
import type { VerbSpec } from "./option-spec.ts";
import { serviceVerbs } from "./service-verbs.ts";

/** Every verb, in the order of the help. */
export const verbs: readonly VerbSpec[] = [...arrayVerbs, ...clusterVerbs, ...serviceVerbs];

export const verbNamed = (name: string): VerbSpec | null => verbs.find((verb) => verb.name === name) ?? null;
