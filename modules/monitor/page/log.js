// The log's last lines, the newest in sight unless somebody scrolled up.

export function drawLog(list, lines) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  d3.select(list).selectAll("li").data(lines, key).join((enter) => {
    const item = enter.append("li").attr("class", (line) => line.level);
    item.append("time").attr("datetime", (line) => line.time)
      .text((line) => new Date(line.time).toLocaleTimeString([], { hour12: false }));
    item.append("span").attr("class", "process").text((line) => line.process);
    const text = item.append("span").attr("class", "text");
    text.append("span").attr("class", "message").text((line) => line.message);
    text.append("span").attr("class", "fields")
      .text((line) => Object.entries(line.fields).map(([name, value]) => `  ${name}=${value}`).join(""));
    return item;
  }).order();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

const key = (line, index) => (line ? `${line.time} ${line.process} ${line.message} ${JSON.stringify(line.fields)}` : index);
