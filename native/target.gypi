# One instruction set's kernels as a static library. The including target sets xcorr_target and xcorr_target_flags.
{
  "type": "static_library",
  "sources": ["targets/target.cpp"],
  "defines": ["XCORR_TARGET=<(xcorr_target)"],
  "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
  "cflags!": ["-fno-omit-frame-pointer"],
  "cflags_cc": ["<@(xcorr_kernel_flags)", "<@(xcorr_target_flags)"],
  "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(xcorr_kernel_flags)", "<@(xcorr_target_flags)"] },
  "standalone_static_library": 1
}
