HOST="vc.example.com";;
;USERNAME="backup"; ; // twice
LOGLEVEL=3;;;
