// Messages, trace lines and descriptions: text that grows as it is printed into.
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include <string>

namespace xcorr {

class Text {
 public:
  [[gnu::format(printf, 2, 3)]] void print(const char* format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(nullptr, 0, format, arguments);
    va_end(arguments);
    if (length > 0) {
      const size_t start = text_.size();
      text_.resize(start + length + 1);
      vsnprintf(&text_[start], length + 1, format, again);
      text_.resize(start + length);
    }
    va_end(again);
  }
  const char* c_str() const { return text_.c_str(); }
  size_t size() const { return text_.size(); }

 private:
  std::string text_;
};

}  // namespace xcorr
