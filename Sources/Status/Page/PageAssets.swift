/// The status page: plain files, in the binary as they stand in this folder.
package enum PageAssets {
  /// The page loads what it needs from here and nothing from elsewhere, runs no script but its own files, is in
  /// nobody's frame and sends no form.
  static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  /// By path. Addresses in the page are relative, so that a proxy may put it under any prefix.
  package static var all: [String: PageAsset] {
    var assets = [
      "/": page("text/html; charset=utf-8", PackageResources.index_html),
      "/favicon.svg": page("image/svg+xml", PackageResources.favicon_svg),
      "/page/page.css": page("text/css; charset=utf-8", PackageResources.page_css),
    ]
    for (name, bytes) in modules { assets["/page/\(name).js"] = page("text/javascript; charset=utf-8", bytes) }
    return assets
  }

  private static var modules: [(name: String, bytes: [UInt8])] {
    [
      ("alarms", PackageResources.alarms_js), ("api", PackageResources.api_js),
      ("charts", PackageResources.charts_js), ("debug", PackageResources.debug_js),
      ("dialog", PackageResources.dialog_js), ("dom", PackageResources.dom_js),
      ("format", PackageResources.format_js), ("oncall", PackageResources.oncall_js),
      ("overview", PackageResources.overview_js), ("page", PackageResources.page_js),
      ("parts", PackageResources.parts_js),
    ]
  }

  private static func page(_ contentType: String, _ bytes: [UInt8]) -> PageAsset {
    PageAsset(contentType: contentType, bytes: bytes, policy: policy)
  }
}
