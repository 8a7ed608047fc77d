import type { ControlMethod } from "../control-api.ts";
import { access } from "./access.ts";
import { action } from "./action.ts";
import { assemble } from "./assemble.ts";
import { create } from "./create.ts";
import { nodeDrain } from "./drain.ts";
import { nodeEvict } from "./evict.ts";
import { map, unmap } from "./export.ts";
import { grow } from "./grow.ts";
import { manage } from "./manage.ts";
import type { Method } from "./method.ts";
import {
  clusterStatus,
  detail,
  events,
  list,
  locks,
  messages,
  metrics,
  nodes,
  opList,
  opShow,
  ping,
  status,
} from "./queries.ts";
import { stop } from "./stop.ts";
import { trace } from "./trace.ts";
import { wait } from "./wait.ts";
import { watch } from "./watch.ts";
import { zeroSuperblock } from "./zero-superblock.ts";

/** What a daemon can be asked. */
export const methods: { readonly [M in ControlMethod]: Method<M> } = {
  ping,
  status,
  watch,
  detail,
  create,
  zeroSuperblock,
  assemble,
  stop,
  manage,
  grow,
  access,
  action,
  wait,
  map,
  unmap,
  list,
  nodes,
  nodeEvict,
  nodeDrain,
  clusterStatus,
  locks,
  messages,
  metrics,
  trace,
  events,
  opList,
  opShow,
};
