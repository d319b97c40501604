// The charts' library, as the build fetched it.
export * from "../vendor/echarts.esm.min.js";
