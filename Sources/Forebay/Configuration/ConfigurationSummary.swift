internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Telemetry

/// What a configuration would run, for people and for programs. Holds no secret: files that hold secrets
/// are named, not read.
extension Configuration {
  /// A few lines: gateway, sources with their filters, spool, pipelines, uplinks.
  var summary: String {
    var lines = ["gateway   \(gateway.id)\(gateway.site.map { " at \($0)" } ?? "")"]
    for source in sources {
      lines.append("source    \(source.name): \(source.address), MQTT \(source.version.rawValue), \(source.security)")
      lines.append("          subscribes to \(list(source.filters))")
    }
    lines.append(
      "spool     \(spool.directory): at most \(Quantity.describe(bytes: spool.maximumBytes)), leaves \(Quantity.describe(bytes: spool.minimumFree)) free"
    )
    for pipeline in pipelines {
      let from = pipeline.sources.map { " of \(list($0.sorted()))" } ?? ""
      let form = pipeline.batch.encoding == .ndjson ? "" : " as \(pipeline.batch.encoding.rawValue)"
      lines.append(
        "pipeline  \(pipeline.name): \(list(pipeline.from.map(\.description)))\(from) -> \(pipeline.to)\(form)")
      lines.append("          \(list(pipeline.steps))")
    }
    for uplink in uplinks {
      lines.append("uplink    \(uplink.name): \(uplink.address)")
    }
    lines.append("status    \(status.socket)")
    lines.append("          \(status.api?.url ?? "no HTTP API: status.listen is off")")
    return lines.joined(separator: "\n")
  }

  private func list(_ items: [String]) -> String {
    items.isEmpty ? "nothing" : items.joined(separator: ", ")
  }

  /// A JSON object with the same.
  var summaryJSON: String {
    CompactJSON.object { json in
      json.add("gateway", gateway.id)
      if let site = gateway.site { json.add("site", site) }
      json.add(
        "sources",
        raw: CompactJSON.array(
          sources.map { source in
            CompactJSON.object { json in
              json.add("name", source.name)
              json.add("address", source.address)
              json.add("version", source.version.rawValue)
              json.add("filters", raw: CompactJSON.array(source.filters.map(CompactJSON.quoted)))
            }
          }))
      json.add(
        "spool",
        raw: CompactJSON.object { json in
          json.add("directory", spool.directory)
          json.add("max_bytes", spool.maximumBytes)
          json.add("min_free_bytes", spool.minimumFree)
        })
      json.add(
        "pipelines",
        raw: CompactJSON.array(
          pipelines.map { pipeline in
            CompactJSON.object { json in
              json.add("name", pipeline.name)
              json.add("from", raw: CompactJSON.array(pipeline.from.map { CompactJSON.quoted($0.description) }))
              let names = pipeline.sources?.sorted() ?? sources.map(\.name)
              json.add("sources", raw: CompactJSON.array(names.map(CompactJSON.quoted)))
              json.add("steps", raw: CompactJSON.array(pipeline.steps.map(CompactJSON.quoted)))
              if let contract = pipeline.contract { json.add("contract", contract.description) }
              json.add("to", pipeline.to)
              if pipeline.batch.encoding != .ndjson { json.add("encoding", pipeline.batch.encoding.rawValue) }
            }
          }))
      json.add(
        "uplinks",
        raw: CompactJSON.array(
          uplinks.map { uplink in
            CompactJSON.object { json in
              json.add("name", uplink.name)
              json.add("address", uplink.address)
            }
          }))
      json.add("status_socket", status.socket)
      if let api = status.api { json.add("status_api", api.url) }
    }
  }
}

extension SourceSettings {
  fileprivate var address: String {
    let host = host.contains(":") ? "[\(host)]" : host
    return "\(tls == nil ? "mqtt" : "mqtts")://\(host):\(port)"
  }

  fileprivate var security: String {
    let user = user.map { "user \(quoted($0))" } ?? "no user"
    return tls?.certificateFile == nil ? user : "\(user), client certificate"
  }
}

extension StatusServerSettings {
  /// Of the status page and of the HTTP API.
  fileprivate var url: String { "\(tls == nil ? "http" : "https")://\(ListenAddress(host: host, port: port))/" }
}

extension UplinkSettings {
  fileprivate var address: String {
    switch kind {
    case .http(let http): http.url
    case .file(let file): file.directory + "/"
    }
  }
}

extension ConfigurationDiagnostic {
  /// A JSON object with every field that is there.
  var json: String {
    CompactJSON.object { json in
      json.add("severity", severity.rawValue)
      json.add("file", file)
      if let place {
        json.add("line", place.line)
        json.add("column", place.column)
      }
      json.add("path", path)
      json.add("message", message)
      if let hint { json.add("hint", hint) }
    }
  }
}
