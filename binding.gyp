# node-gyp's build of the addon; CMakeLists.txt is cmake-js's. Sources and flags of both are in native/build.json.
{
  "includes": ["native/build.json"],
  "variables": { "module_name": "xcorr" },
  "targets": [
    {
      "target_name": "xcorr_generic",
      "variables": { "xcorr_target": "generic", "xcorr_target_flags": ["<@(xcorr_generic_flags)"] },
      "includes": ["native/target.gypi"]
    },
    {
      "target_name": "xcorr",
      "sources": ["<@(xcorr_runtime_sources)", "<@(xcorr_addon_sources)"],
      "defines": ["<@(xcorr_defines)"],
      "dependencies": ["xcorr_generic"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags!": ["-fno-omit-frame-pointer"],
      "cflags_cc": ["<@(xcorr_flags)"],
      "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(xcorr_flags)"], "MACOSX_DEPLOYMENT_TARGET": "11.0" },
      "conditions": [
        ["target_arch=='x64'", { "dependencies": ["xcorr_avx2", "xcorr_avx512"] }],
        ["target_arch=='arm64'", { "dependencies": ["xcorr_neon"] }],
        ["OS=='linux'", {
          "ldflags": ["<@(xcorr_link_flags)", "-Wl,--version-script=<(module_root_dir)/native/addon/exports.map"]
        }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "xcorr_avx2",
          "variables": { "xcorr_target": "avx2", "xcorr_target_flags": ["<@(xcorr_avx2_flags)"] },
          "includes": ["native/target.gypi"]
        },
        {
          "target_name": "xcorr_avx512",
          "variables": { "xcorr_target": "avx512", "xcorr_target_flags": ["<@(xcorr_avx512_flags)"] },
          "includes": ["native/target.gypi"]
        }
      ]
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "xcorr_neon",
          "variables": { "xcorr_target": "neon", "xcorr_target_flags": ["<@(xcorr_neon_flags)"] },
          "includes": ["native/target.gypi"]
        }
      ]
    }]
  ]
}
